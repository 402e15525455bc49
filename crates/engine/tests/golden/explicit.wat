;; explicit
(module
  (memory 1)
  (func (param i32 i32) (result i32)
    (i32.div_s (i32.load (local.get 0)) (local.get 1))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     sig0 = (i64 vmctx, i32) -> i64 tail
;;     fn0 = colocated u0:1 sig0
;;
;;                                 block0(v0: i64, v1: i32, v2: i32):
;;                                     v18 = load.i64 notrap aligned readonly can_move v0+32
;;                                     v11 = load.i64 notrap aligned readonly can_move v0+40
;; @001e                               v3 = load.i64 notrap aligned readonly can_move v0+8
;; @001e                               v4 = load.i64 notrap aligned v3
;; @001e                               v5 = get_stack_pointer.i64
;; @001e                               v6 = icmp ult v5, v4
;; @001e                               brif v6, block1, block2
;;
;;                                 block1 cold:
;; @001e                               v7 = iconst.i32 10
;; @001e                               v8 = call fn0(v0, v7)  ; v7 = 10
;; @001e                               trap stk_ovf
;;
;;                                 block2:
;; @0021                               v10 = uextend.i64 v1
;; @0021                               v12 = load.i64 notrap aligned v11+8
;; @0021                               v13 = iconst.i64 4
;; @0021                               v14 = iadd v10, v13  ; v13 = 4
;; @0021                               v15 = icmp ugt v14, v12
;; @0021                               brif v15, block4, block5
;;
;;                                 block4 cold:
;; @0021                               v16 = iconst.i32 2
;; @0021                               v17 = call fn0(v0, v16)  ; v16 = 2
;; @0021                               trap heap_oob
;;
;;                                 block5:
;; @0021                               v19 = iconst.i64 0
;; @0021                               v20 = iadd.i64 v10, v19  ; v19 = 0
;; @0021                               v21 = iadd.i64 v18, v20
;; @0021                               v22 = select_spectre_guard.i64 v15, v18, v21
;; @0021                               v23 = load.i32 notrap little region0 v22
;; @0026                               brif.i32 v2, block7, block6
;;
;;                                 block6 cold:
;; @0026                               v24 = iconst.i32 7
;; @0026                               v25 = call fn0(v0, v24)  ; v24 = 7
;; @0026                               trap int_divz
;;
;;                                 block7:
;; @0026                               v26 = iconst.i32 -2147483648
;; @0026                               v27 = iconst.i32 -1
;; @0026                               v28 = icmp.i32 eq v23, v26  ; v26 = -2147483648
;; @0026                               v29 = icmp.i32 eq v2, v27  ; v27 = -1
;; @0026                               v30 = band v28, v29
;; @0026                               brif v30, block8, block9
;;
;;                                 block8 cold:
;; @0026                               v31 = iconst.i32 8
;; @0026                               v32 = call fn0(v0, v31)  ; v31 = 8
;; @0026                               trap int_ovf
;;
;;                                 block9:
;; @0026                               v33 = sdiv.i32 v23, v2
;; @0027                               return v33
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 8(%rdi), %rax
;;   movq (%rax), %rax
;;   movq    %rsp, %rcx
;;   cmpq %rax, %rcx
;;   jb      label8; j label1
;; block1:
;;   movq 0x28(%rdi), %rax
;;   movq 8(%rax), %rax
;;   movl %esi, %ecx
;;   leaq 4(%rcx), %rsi
;;   cmpq %rax, %rsi
;;   jnbe    label7; j label2
;; block2:
;;   movq 0x20(%rdi), %r8
;;   leaq (%r8, %rcx), %rcx
;;   cmpq %rax, %rsi
;;   cmovaq %r8, %rcx
;;   movl (%rcx), %eax
;;   testl %edx, %edx
;;   jnz     label4; j label3
;; block4:
;;   cmpl $0x80000000, %eax
;;   sete %cl
;;   cmpl $0xffffffff, %edx
;;   movq %rdx, %rsi
;;   sete %dl
;;   testb %cl, %dl
;;   jnz     label6; j label5
;; block5:
;;   cltd  ;; implicit: %edx, %eax
;;   movq %rsi, %rcx
;;   testl %ecx, %ecx
;;   jz #trap=int_divz
;;   idivl %ecx ;; implicit: %eax, %edx, trap=252
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block3:
;;   movl $0x7, %esi
;;   call    User(userextname0)
;;   ud2
;; block6:
;;   movl $0x8, %esi
;;   call    User(userextname0)
;;   ud2
;; block7:
;;   movl $0x2, %esi
;;   call    User(userextname0)
;;   ud2
;; block8:
;;   movl $0xa, %esi
;;   call    User(userextname0)
;;   ud2
