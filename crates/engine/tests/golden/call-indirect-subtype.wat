(module
  (type $t (sub (func (param i32) (result i32))))
  (table 4 funcref)
  (func (param i32) (result i32)
    (call_indirect (type $t) (i32.const 7) (local.get 0))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i64, i32) -> i64 tail
;;     sig1 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated u0:15 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v13 = load.i32 notrap aligned readonly can_move v0+48
;; @0021                               v3 = iconst.i32 7
;; @0025                               v4 = uextend.i64 v1
;; @0025                               v5 = load.i64 notrap aligned region1 v0+32
;; @0025                               v6 = load.i64 notrap aligned region1 v0+40
;; @0025                               v7 = icmp uge v4, v6
;; @0025                               trapnz v7, user4
;; @0025                               v8 = iconst.i64 3
;; @0025                               v9 = ishl v4, v8  ; v8 = 3
;; @0025                               v10 = iadd v5, v9
;; @0025                               v11 = select_spectre_guard v7, v5, v10
;; @0025                               v12 = load.i64 notrap aligned region1 v11
;; @0025                               v14 = load.i32 user5 aligned readonly v12+24
;; @0025                               v15 = icmp eq v14, v13
;; @0025                               brif v15, block3(v15), block2
;;
;;                                 block2 cold:
;; @0025                               v17 = iconst.i32 0
;; @0025                               v18 = call fn0(v0, v12, v17)  ; v17 = 0
;; @0025                               v19 = ireduce.i8 v18
;; @0025                               jump block3(v19)
;;
;;                                 block3(v16: i8):
;; @0025                               trapz v16, user6
;; @0025                               v20 = load.i64 notrap aligned readonly v12
;; @0025                               v21 = load.i64 notrap aligned readonly v12+16
;; @0025                               v22 = call_indirect sig1, v20(v21, v3)  ; v3 = 7
;; @0028                               return v22
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;;   movq 8(%rdi), %r10
;;   movq (%r10), %r10
;;   addq $0x20, %r10
;;   cmpq %rsp, %r10
;;   jnbe #trap=stk_ovf
;;   subq $0x10, %rsp
;;   movq %rbx, (%rsp)
;; block0:
;;   movq 0x20(%rdi), %rax
;;   movq 0x28(%rdi), %rcx
;;   movl %esi, %edx
;;   cmpq %rcx, %rdx
;;   jnb #trap=user4
;;   leaq (%rax, %rdx, 8), %rsi
;;   cmpq %rcx, %rdx
;;   cmovaeq %rax, %rsi
;;   movq (%rsi), %rbx
;;   movl 0x18(%rbx), %ecx
;;   movl 0x30(%rdi), %edx
;;   cmpl %edx, %ecx
;;   sete %al
;;   cmpl %edx, %ecx
;;   jz      label1; j label2
;; block1:
;;   jmp     label3
;; block3:
;;   testb %al, %al
;;   jz #trap=user6
;;   movq (%rbx), %rax
;;   movq 0x10(%rbx), %rdi
;;   movl $0x7, %esi
;;   call    *%rax
;;   movq (%rsp), %rbx
;;   addq $0x10, %rsp
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block2:
;;   uninit  %rdx
;;   xorl %edx, %edx
;;   movq %rbx, %rsi
;;   call    User(userextname0)
;;   jmp     label3
