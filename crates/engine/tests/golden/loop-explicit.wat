;; explicit
(module
  (func (param i32)
    (loop $again
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     sig0 = (i64 vmctx, i32) -> i64 tail
;;     fn0 = colocated u0:1 sig0
;;
;;                                 block0(v0: i64, v1: i32):
;; @0017                               v2 = load.i64 notrap aligned readonly can_move v0+8
;; @0017                               v3 = load.i64 notrap aligned v2
;; @0017                               v4 = get_stack_pointer.i64
;; @0017                               v5 = icmp ult v4, v3
;; @0017                               brif v5, block1, block2
;;
;;                                 block1 cold:
;; @0017                               v6 = iconst.i32 10
;; @0017                               v7 = call fn0(v0, v6)  ; v6 = 10
;; @0017                               trap stk_ovf
;;
;;                                 block2:
;; @0018                               jump block4(v1)
;;
;;                                 block4(v11: i32):
;; @0018                               v8 = load.i32 notrap aligned v2-0x0001_0000
;; @0018                               brif v8, block6, block7
;;
;;                                 block6 cold:
;; @0018                               v9 = iconst.i32 15
;; @0018                               v10 = call fn0(v0, v9)  ; v9 = 15
;; @0018                               trap user15
;;
;;                                 block7:
;; @001c                               v12 = iconst.i32 1
;; @001e                               v13 = isub.i32 v11, v12  ; v12 = 1
;; @0021                               brif v13, block8, block9
;;
;;                                 block9:
;; @0021                               jump block5
;;
;;                                 block8:
;; @001c                               v14 = iconst.i32 1
;; @001e                               v15 = isub.i32 v13, v14  ; v14 = 1
;; @0021                               brif v15, block10, block11
;;
;;                                 block11:
;; @0021                               jump block5
;;
;;                                 block10:
;; @001c                               v16 = iconst.i32 1
;; @001e                               v17 = isub.i32 v15, v16  ; v16 = 1
;; @0021                               brif v17, block12, block13
;;
;;                                 block13:
;; @0021                               jump block5
;;
;;                                 block12:
;; @001c                               v18 = iconst.i32 1
;; @001e                               v19 = isub.i32 v17, v18  ; v18 = 1
;; @0021                               brif v19, block4(v19), block14
;;
;;                                 block14:
;; @0023                               jump block5
;;
;;                                 block5:
;; @0024                               return
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 8(%rdi), %rax
;;   movq (%rax), %rcx
;;   movq    %rsp, %rdx
;;   cmpq %rcx, %rdx
;;   jb      label14; j label1
;; block1:
;;   jmp     label2
;; block2:
;;   movl -0x10000(%rax), %ecx
;;   testl %ecx, %ecx
;;   jnz     label13; j label3
;; block3:
;;   movq %rsi, %rcx
;;   subl $0x1, %ecx
;;   testl %ecx, %ecx
;;   jnz     label5; j label4
;; block4:
;;   jmp     label12
;; block5:
;;   movq %rsi, %rcx
;;   subl $0x2, %ecx
;;   testl %ecx, %ecx
;;   jnz     label7; j label6
;; block6:
;;   jmp     label12
;; block7:
;;   movq %rsi, %rcx
;;   subl $0x3, %ecx
;;   testl %ecx, %ecx
;;   jnz     label9; j label8
;; block8:
;;   jmp     label12
;; block9:
;;   subl $0x4, %esi
;;   testl %esi, %esi
;;   jnz     label10; j label11
;; block10:
;;   jmp     label2
;; block11:
;;   jmp     label12
;; block12:
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block13:
;;   movl $0xf, %esi
;;   call    User(userextname0)
;;   ud2
;; block14:
;;   movl $0xa, %esi
;;   call    User(userextname0)
;;   ud2
